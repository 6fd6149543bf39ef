"""What the API page makes of docstrings: "Example:" is a section of code, as "Examples:" is for griffe."""

import re

import griffe


class Examples(griffe.Extension):
    """Without it, the prompts of an example become quotations."""

    def on_object(self, *, obj, **kwargs):
        """Rename the section."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)

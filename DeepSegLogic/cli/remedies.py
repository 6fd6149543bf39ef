"""The actions of errors, in terms of the command line."""

from __future__ import annotations

from collections.abc import Mapping

from ..util.errors import Action

WORDS: Mapping[Action, str] = {
    "allow_other_host": "Add --other-host.",
    "choose_device": "For that, add --device {device}.",
    "choose_model": "List the models with `deepseg models list`.",
    "collect_case": "Run `deepseg adapt add RESULT --model {model}`.",
    "correct_with_model": "Use `deepseg refine --model {model}`.",
    "download_model": "Run `deepseg models download {model}`.",
    "give_card": "Put it there, or name the file with --card.",
    "give_channel": "Add --channel {channel}=FILE.",
    "give_image": "Use --image, or for a comparison --baseline-image and --followup-image.",
    "give_token": "Set it in DEEPSEG_TOKEN, or run `deepseg servers add` once more.",
    "go_on_anyway": "For that, add --force.",
    "import_model": "Run `deepseg models import` with its file or folder.",
    "install_extra": "{how}.",
    "keep_probabilities": "Run `deepseg segment --save-probabilities`.",
    "lower_quality": "Use --quality draft.",
    "make_surfaces": "`deepseg surfaces` makes organ models of a segmentation.",
    "rename_model": "Choose another id with --id.",
    "replace_model": "Add --replace, or choose another id with --id.",
    "save_server": "Run `deepseg servers add URL`.",
    "segment_again": "Run `deepseg segment` again.",
    "set_up_drafting": "Run `deepseg drafting set URL`.",
    "start_service": "Start it with `deepseg serve`.",
    "trust_model": "Run `deepseg models trust {folder}` once.",
}

"""The structures of the bundled model, and which of TotalSegmentator's each one is made of."""

PLAIN = [
    *("spleen", "kidney_right", "kidney_left", "gallbladder", "liver", "stomach", "duodenum", "small_bowel", "colon"),
    *("urinary_bladder", "aorta", "inferior_vena_cava", "femur_left", "femur_right", "hip_left", "hip_right"),
    *("gluteus_maximus_left", "gluteus_maximus_right", "gluteus_medius_left", "gluteus_medius_right"),
    *("autochthon_left", "autochthon_right", "iliopsoas_left", "iliopsoas_right"),
]
MERGED = {  # ours: how the names begin that it is made of
    "sacrum": ("sacrum", "vertebrae_S1"),
    "vertebrae": ("vertebrae_L", "vertebrae_T", "vertebrae_C"),
    "ribs_left": ("rib_left",),
    "ribs_right": ("rib_right",),
    "lung_left": ("lung_upper_lobe_left", "lung_lower_lobe_left"),
    "lung_right": ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
    "heart": ("heart", "atrial_appendage"),
}
MORE = [
    *("pancreas", "portal_vein_and_splenic_vein", "esophagus", "trachea", "sternum"),
    *("scapula_left", "scapula_right", "clavicula_left", "clavicula_right"),
]
NAMES = [*PLAIN, *MERGED, *MORE]
LEFT_OUT = (  # learnt, but not found well enough in patients that the model never saw
    *("gallbladder", "duodenum", "pancreas", "portal_vein_and_splenic_vein", "esophagus", "trachea", "sternum"),
    *("scapula_left", "scapula_right", "clavicula_left", "clavicula_right"),
)


def ours(name: str) -> str | None:
    """The demonstration model's structure that one of TotalSegmentator's belongs to, if any."""
    if name in PLAIN or name in MORE:
        return name
    return next((merged for merged, parts in MERGED.items() if name.startswith(parts)), None)

"""MCAN, the multiblock study's block: its entry in the zoo."""

from multiblock.networks.family import Entry

ENTRIES = (
    Entry(
        name="mcan",
        family="mcan",
        scales=(1,),
        what="block of the multiblock channel attention network",
        source="multiblock study (LEEPEIQIN/Multiblock)",
    ),
)

"""The toy model's block: its entry in the zoo."""

from multiblock.networks.family import Entry

ENTRIES = (
    Entry(
        name="toy",
        family="toy",
        scales=(1,),
        what="block of the toy model",
        source="multiblock study (LEEPEIQIN/Multiblock)",
    ),
)

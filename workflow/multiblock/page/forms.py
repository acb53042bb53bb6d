"""The two forms of a page: the full one, and a small one inside Snakemake's report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multiblock.page import charts, maps, rendering, viewer
from multiblock.page.charts import Chart
from multiblock.page.pictures import Shown


def write(
    template: str,
    shown: Sequence[Shown],
    drawn: Sequence[Chart],
    *,
    out: Path,
    small: Path,
    elsewhere: str,
    links: Mapping[str, Any],
    **values: Any,
) -> None:
    """Write both forms of a page.

    Args:
        shown: the test images.
        drawn: the charts, that of PSNR against compute first.
        out, small: the HTML files.
        elsewhere: where the full page lies, for the small one.
        links: what of the template leads to other files: the small form has none of them.
        values: of the template, the same in both forms.
    """
    text = rendering.within(
        template,
        rendering.LIMIT,
        lambda budget: viewer.data(shown, budget),
        maps=maps.maps(shown),
        elsewhere="",
        **links,
        **charts.for_template(drawn, rendering.POINTS),
        **values,
    )
    rendering.write(out, text)
    light = rendering.within(
        template,
        rendering.SMALL,
        lambda budget: viewer.data(shown, budget, most=2),
        maps=[],
        elsewhere=elsewhere,
        **{name: type(value)() for name, value in links.items()},
        **charts.for_template(drawn, rendering.POINTS_IN_SMALL),
        **values,
    )
    rendering.write_small(small, light, values["title"], elsewhere)

"""Every figure of a report as SVG and PNG."""

import io
from collections.abc import Sequence

from matplotlib.figure import Figure

from gaborseg.machine import progress
from gaborseg.reporting.chart_style import chart_look
from gaborseg.reporting.charts import all_charts
from gaborseg.reporting.folder import ReportFolder
from gaborseg.reporting.page.page import Gallery, Picture
from gaborseg.reporting.pictures import Shown, kernel_drawings, subject_drawing
from gaborseg.reporting.tables import Table
from gaborseg.study import Results


def write_figures(
    folder: ReportFolder,
    results: Results,
    subject: Shown | None,
    tables: list[Table],
    trust: Sequence[str] = (),
) -> tuple[dict[str, bytes], list[Gallery]]:
    """Write every figure as SVG and PNG.

    The numbers of the kernel gallery are added to the tables. Of kernels that are not ours only
    those of trusted modules are drawn.

    Returns:
        All PNG files by name, and those that the page shows as they are.
    """
    with chart_look():
        drawing = subject_drawing(subject, results) if subject else None
        drawings = [drawing] if drawing else []
        for pictures, table in kernel_drawings(results, trust):
            drawings += pictures
            tables.append(table)
        figures = {**dict(all_charts(results)), **{d.name: d.figure for d in drawings}}
        images: dict[str, bytes] = {}
        for name, figure in progress(figures.items(), "Drawing figures"):
            images[name] = _as_png(figure)
            folder.write(f"figures/{name}.png", images[name])
            folder.write(f"figures/{name}.svg", _as_svg(figure))
    sections = dict.fromkeys(drawing.section for drawing in drawings)
    return images, [
        Gallery(
            id=section.lower(),
            title=section,
            pictures=tuple(
                Picture(images[d.name], d.text, d.name) for d in drawings if d.section == section
            ),
        )
        for section in sections
    ]


def _as_svg(figure: Figure) -> bytes:
    """Return a figure that was laid out as SVG, without the date."""
    file = io.BytesIO()
    figure.set_layout_engine("none")
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _as_png(figure: Figure) -> bytes:
    """Return a figure as PNG, and lay it out."""
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()

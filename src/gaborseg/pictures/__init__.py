"""Pictures: of scans with label maps, of kernels, of surfaces, of the paper's Fig. 1."""

from gaborseg.pictures.augmented import draw_augmentation
from gaborseg.pictures.contact_sheet import contact_sheets
from gaborseg.pictures.example import Example, draw_example, example_slices
from gaborseg.pictures.first_figure import (
    REACH,
    SINUSOIDS,
    draw_losses,
    draw_sinusoids,
    simulated_losses,
    sinusoidal_factor,
)
from gaborseg.pictures.kernel_charts import gallery_charts
from gaborseg.pictures.kernels import KernelLayer, gallery_rows, kernel_layers
from gaborseg.pictures.overlay import draw_overlay
from gaborseg.pictures.slices import literal
from gaborseg.pictures.subject import draw_subject
from gaborseg.pictures.viewer.prepared import PREPARED_VIEWERS, prepared_viewer
from gaborseg.pictures.viewer.sheet import (
    SCRIPT,
    STYLE,
    as_json,
    viewer_book,
    viewer_page,
    viewer_text,
)
from gaborseg.pictures.viewer.volumes import viewer_case

__all__ = [
    "PREPARED_VIEWERS",
    "REACH",
    "SCRIPT",
    "SINUSOIDS",
    "STYLE",
    "Example",
    "KernelLayer",
    "as_json",
    "contact_sheets",
    "draw_augmentation",
    "draw_example",
    "draw_losses",
    "draw_overlay",
    "draw_sinusoids",
    "draw_subject",
    "example_slices",
    "gallery_charts",
    "gallery_rows",
    "kernel_layers",
    "literal",
    "prepared_viewer",
    "simulated_losses",
    "sinusoidal_factor",
    "viewer_book",
    "viewer_case",
    "viewer_page",
    "viewer_text",
]

"""Numbers to files: tables, charts, pictures, a page, W&B."""

from gaborseg.reporting.dashboard import save_workspace
from gaborseg.reporting.paper_figures import write_paper_figures
from gaborseg.reporting.report import make_report

__all__ = ["make_report", "save_workspace", "write_paper_figures"]

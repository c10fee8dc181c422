"""What every command shares: configurations, errors in one line, help, the screen."""

from gaborseg.interface.building import build, settings_named, target_of
from gaborseg.interface.choices import (
    effective_choices,
    effective_settings,
    refuse_idle_kernel,
    refuse_missing_parts,
    takes_kernels,
)
from gaborseg.interface.composition import SweepComposer, each_interpolation_parsed_once
from gaborseg.interface.configuration import (
    CONFIGURATIONS,
    as_list,
    compose_config,
    plain,
    quote_values,
)
from gaborseg.interface.errors import (
    Terminated,
    UserError,
    check_paths,
    errors_in_log,
    mistakes_as_user_errors,
    output_may_be_cut,
    run_command,
)
from gaborseg.interface.help import CONSOLE, command, prediction_line, report_line
from gaborseg.interface.markdown import markdown_table, markdown_text
from gaborseg.interface.monitored import monitor_of, own_mode
from gaborseg.interface.naming import own_choices
from gaborseg.interface.obstacles import Obstacle, obstacle
from gaborseg.interface.screen import ConsoleHandler, LogFile, show
from gaborseg.interface.unread import refuse_unread

__all__ = [
    "CONFIGURATIONS",
    "CONSOLE",
    "ConsoleHandler",
    "LogFile",
    "Obstacle",
    "SweepComposer",
    "Terminated",
    "UserError",
    "as_list",
    "build",
    "check_paths",
    "command",
    "compose_config",
    "each_interpolation_parsed_once",
    "effective_choices",
    "effective_settings",
    "errors_in_log",
    "markdown_table",
    "markdown_text",
    "mistakes_as_user_errors",
    "monitor_of",
    "obstacle",
    "output_may_be_cut",
    "own_choices",
    "own_mode",
    "plain",
    "prediction_line",
    "quote_values",
    "refuse_idle_kernel",
    "refuse_missing_parts",
    "refuse_unread",
    "report_line",
    "run_command",
    "settings_named",
    "show",
    "takes_kernels",
    "target_of",
]

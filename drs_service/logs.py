"""One event a line, on standard error: JSON, or on a terminal something for people."""

import logging
import sys

import structlog


def configure(level: str) -> None:
    """Send our events, and the warnings of the libraries, to standard error from that level on."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    console = sys.stderr.isatty()
    rendered: list[structlog.typing.Processor] = (
        # What it says of exceptions otherwise has the values of all variables, and secrets among them; and what others
        # say, an agent why it leaves, could have sequences that steer a terminal.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback, repr_native_str=True)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[handler])

"""Snakemake's plugin for few lines on the terminal: ``logger: multiblock`` in a profile.

Snakemake makes the handler before it reads any rule. What events mean to a person is known to the workflow, which
takes them over (:meth:`LogHandler.hand_to`) once it has started; until then, and where it only looks at what is there,
they are shown in Snakemake's own words. Every run of Snakemake imports this package, so it imports little.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress

from snakemake_interface_logger_plugins.base import LogHandlerBase


class LogHandler(LogHandlerBase):
    """Takes what Snakemake logs."""

    writes_to_stream = True
    writes_to_file = False
    has_formatter = False
    needs_rulegraph = False
    current: "LogHandler | None" = None
    """The handler of the Snakemake that runs in this process."""

    def __post_init__(self) -> None:
        logging.Handler.__init__(self)  # older versions of the interface leave that to the plugin
        LogHandler.current = self
        self._take: Callable[[logging.LogRecord], None] | None = None
        self._close: Callable[[], None] | None = None
        self._shows_all = self.common_settings.verbose

    @property
    def has_filter(self) -> bool:
        """Whether all events are wanted, and not only those that Snakemake would show."""
        return not self.common_settings.verbose

    def hand_to(
        self, take: Callable[[logging.LogRecord], None] | None, close: Callable[[], None] | None = None
    ) -> None:
        """Hand all records to ``take`` from now on; where it is None they are shown in Snakemake's own words.

        Args:
            close: called once there are no more.
        """
        self._take, self._close, self._shows_all = take, close, take is None

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record on, or show it."""
        if self._take and not self.common_settings.verbose:
            self._take(record)
        elif self._shows_all or record.levelno >= logging.WARNING:
            with suppress(OSError):  # the terminal may be closed
                print(self.format(record), file=sys.stdout if self.common_settings.stdout else sys.stderr, flush=True)

    def close(self) -> None:
        """Note that there are no more records."""
        if self._close:
            self._close()
        super().close()

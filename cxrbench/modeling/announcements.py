"""Messages of TensorFlow that say nothing to a user: its build, the search for CUDA, retracing."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile


@contextmanager
def without_tensorflows_announcements() -> Iterator[None]:
    """Hold back the standard error of C++ code; show it if anything fails, unless by Ctrl-C.

    TensorFlow announces its build and looks for CUDA before its log level can be set, on every
    start and on machines without a GPU too.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    stderr = os.dup(2)
    with TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except Exception:
            buffer.seek(0)
            os.write(stderr, buffer.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def hide_retracing_advice() -> None:
    """Hide TensorFlow's advice about retracing: it takes the models of several runs for a loop."""
    logging.getLogger("tensorflow").addFilter(_is_not_about_retracing)


def _is_not_about_retracing(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in str(record.msg)

"""The errors dcbench raises on purpose; each message says what was asked, what was found and what to do."""


class DcbenchError(Exception):
    """Base of every error that dcbench raises on purpose."""


class SpecError(DcbenchError, ValueError):
    """A parameter, a file or a function given by a person cannot be used as it is."""


class BackendUnavailable(DcbenchError):
    """The machine or the build lacks what the chosen backend or transport needs."""


class WorkerFailed(DcbenchError):
    """A worker process ended without a valid result."""


class StoreError(DcbenchError):
    """A run directory or record cannot be read or written."""

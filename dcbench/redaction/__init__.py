"""What of names, values, texts and source code is secret, and how it is masked before it is kept or shown.

A text is secret where its name says so (``api_token``, ``MY_PASSWORD``; numbers never are, so that ``max_tokens=512``
stays), where it is the user, password, signed or opaque part of a URL, follows such a name within a text
(``--token=…``), or has the form of a well-known kind of token. What is masked reads ``***``; the real values go to
worker processes over their private channels only. Specifications are hashed as they are masked: a run with another
password is the same run, and no hash can be tried against a list of passwords. Values known to be secret (of the
environment, of arguments, of what a function captures) are also looked for in messages, tracebacks and, when a run
ends, in its logs: as they are, and as Python, JSON, a URL or base64 writes them.

Not found are values under a name that tells nothing, values shorter than six characters, numbers, and what a person's
own code transforms, or writes into files by itself. Where the process that makes a run is killed, what the code of its
ranks had printed stays in their logs as it was, but for what `dcbench.launch.recovery` knows from its own environment.
"""

from dcbench.redaction.hidden import MASK, Hidden
from dcbench.redaction.source import masked_source
from dcbench.redaction.values import is_secret, masked, masked_text, of_environment, still_masked

__all__ = ["MASK", "Hidden", "is_secret", "masked", "masked_source", "masked_text", "of_environment", "still_masked"]

"""Where the third-party test material lies, and skipping by name where it does not."""

from pathlib import Path

from twisted.trial.unittest import SkipTest

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"


def corpus(name: str) -> Path:
    """The folder of one corpus.

    :raises SkipTest: it is not there.
    """
    folder = CORPORA / name
    if not folder.is_dir():
        raise SkipTest(f"the corpus {name} is not at {folder}")
    return folder

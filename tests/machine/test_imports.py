import gc
import sys
from pathlib import Path

import pytest

from gaborseg.machine import large_imports


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that has not been imported."""
    (tmp_path / "not_imported_yet.py").write_text("import gc\nCOLLECTED = gc.isenabled()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "not_imported_yet", raising=False)
    return "not_imported_yet"


def test_nothing_is_collected_during_an_import_and_what_there_is_never(module: str) -> None:
    with large_imports():
        imported = __import__(module)
    assert not imported.COLLECTED
    assert gc.isenabled()
    assert not any(one is imported for one in gc.get_objects())  # which leaves out the frozen


def test_nothing_is_frozen_where_nothing_was_imported() -> None:
    before = gc.get_freeze_count()
    with large_imports():
        import gaborseg.machine  # noqa: F401
    assert gc.get_freeze_count() <= before


def test_who_has_switched_collecting_off_finds_it_off() -> None:
    gc.disable()
    try:
        with large_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_collecting_goes_on_after_an_import_that_failed() -> None:
    with pytest.raises(ModuleNotFoundError), large_imports():
        import not_to_be_found  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()

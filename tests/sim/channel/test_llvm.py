"""Which LLVM the ray tracer gets: the newest that works, or just the one that is asked for."""

import os
from pathlib import Path

import pytest

from sim.channel import llvm


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(llvm.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(llvm, "_LIBRARY_FOLDERS", (str(tmp_path),))
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["libLLVM-14.so.1", "libLLVM-15.so"], None),
        (["libLLVM-15.so", "libLLVM-16.so.1"], "libLLVM-16.so.1"),
        (["libLLVM-16.so", "libLLVM.so.19.1", "libLLVM-18.so.1"], "libLLVM.so.19.1"),
        (["libLLVM.so.9"], None),
        (["libLLVM.so.21"], "libLLVM.so.21"),
        (["libLLVMSupport.so.19", "libLLVM.a"], None),
        (["libLLVM.dylib"], "libLLVM.dylib"),
        ([], None),
    ],
)
def test_the_newest_that_works_is_found(tmp_path: Path, there: list[str], found: str | None) -> None:
    for name in there:
        (tmp_path / name).touch()
    assert llvm.find_llvm() == (tmp_path / found if found else None)


def test_who_asks_for_one_gets_that_one_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libLLVM.so.19").touch()
    wanted = tmp_path / "mine.so"
    monkeypatch.setenv(llvm.ENVIRONMENT_VARIABLE, str(wanted))
    assert llvm.find_llvm() is None
    wanted.touch()
    assert llvm.find_llvm() == wanted


def test_the_loader_s_own_is_taken_if_it_is_new_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: "libLLVM-14.so.1")
    assert llvm.find_llvm() is None
    monkeypatch.setattr("ctypes.util.find_library", lambda name: "libLLVM.so.19.1")
    assert llvm.find_llvm() == Path("libLLVM.so.19.1")


def test_the_tracer_is_pointed_at_it(tmp_path: Path) -> None:
    assert llvm.point_the_tracer_at_llvm() is None
    assert llvm.ENVIRONMENT_VARIABLE not in os.environ
    (tmp_path / "libLLVM.so.19").touch()
    try:
        assert llvm.point_the_tracer_at_llvm() == tmp_path / "libLLVM.so.19"
        assert os.environ[llvm.ENVIRONMENT_VARIABLE] == str(tmp_path / "libLLVM.so.19")
    finally:
        os.environ.pop(llvm.ENVIRONMENT_VARIABLE)

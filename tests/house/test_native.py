"""What cffi reads at run time is what native.h says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_module_is_made_of_the_header_as_it_stands(tmp_path: Path) -> None:
    made = tmp_path / "_native.py"
    subprocess.run([sys.executable, ROOT / "tools" / "native", made], check=True, capture_output=True)
    assert made.read_text() == (ROOT / "src" / "lockgate" / "net" / "_native.py").read_text(), "run tools/native"

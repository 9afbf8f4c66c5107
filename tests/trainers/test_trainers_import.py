import subprocess
import sys


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, minchange_eval.trainers, minchange_eval.trainers.clip; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

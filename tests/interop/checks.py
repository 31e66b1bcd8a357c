"""What the checks share: the program, a folder that goes away again, and failures that are counted rather than thrown."""
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.environ.get("NUNCHI_SHARED", os.path.join(ROOT, "..", "shared"))
failed = 0


def nunchi(*words, text=None):
    """Runs the program; its standard output, or RuntimeError with its last line."""
    done = subprocess.run([sys.argv[1], *words], input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"nunchi {' '.join(words)}: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
    return done.stdout


def folder():
    return tempfile.TemporaryDirectory(prefix="nunchi-interop-")


def golden(name):
    """The folder of golden/models, the repository's own or the shared tree's; None when neither has it."""
    for base in (os.path.join(ROOT, "tests", "golden"), os.path.join(SHARED, "golden")):
        at = os.path.join(base, "models", name)
        if os.path.isdir(at):
            return at
    return None


def all_golden():
    """Names of all folders of golden/models, here and in the shared tree."""
    bases = [os.path.join(base, "models") for base in (os.path.join(ROOT, "tests", "golden"), os.path.join(SHARED, "golden"))]
    return sorted({name for base in bases if os.path.isdir(base) for name in os.listdir(base)})


def check(name, function, *arguments):
    """One case: `function` returns words about what it saw, or raises."""
    global failed
    try:
        print(f"ok    {name}: {function(*arguments)}", flush=True)
    except Exception as e:
        failed += 1
        print(f"FAIL  {name}: {type(e).__name__}: {str(e)[:600]}", flush=True)


def finish():
    print(f"{failed} failed")
    sys.exit(1 if failed else 0)

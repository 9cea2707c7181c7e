"""Run the examples in docstrings with nothing but the package: ``python .ci/examples.py pp tl model``."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import pkgutil
import sys
import tempfile


class OutputChecker(doctest.OutputChecker):
    """An example that states no result may print: training shows its progress."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        """Compare what an example printed with the result that it states."""
        return not want or super().check_output(want, got, optionflags)


def examples(package: str) -> list[doctest.DocTest]:
    """Examples in the docstrings of a package and all of its modules."""
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(package)]
    modules += [
        importlib.import_module(info.name) for info in pkgutil.walk_packages(modules[0].__path__, f"{package}.")
    ]
    return [test for module in modules for test in finder.find(module) if test.examples]


def failures(example: doctest.DocTest) -> str:
    """Run one example; what differs from the results that it states."""
    report: list[str] = []
    runner = doctest.DocTestRunner(OutputChecker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=report.append)
    return "".join(report)


def main(packages: list[str]) -> int:
    """Run the examples of some sub-packages in a folder of their own, since they may write files."""
    found = [example for package in packages for example in examples(f"scdart.{package}")]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        failed = [report for example in found if (report := failures(example))]
    sys.stdout.write("".join(failed))
    sys.stdout.write(f"{len(found) - len(failed)} of {len(found)} examples run in {', '.join(packages)}\n")
    return 1 if failed or not found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Every example in a docstring of the package runs."""

import doctest
import importlib
import pkgutil

import pytest

import servey

# the program runs when it is imported; the applications need the user's actions
NO_IMPORT = {"servey.__main__", "servey.servey_starlette.starlette_app", "servey.servey_celery.celery_app"}

MODULES = sorted({info.name for info in pkgutil.walk_packages(servey.__path__, "servey.")} - NO_IMPORT | {"servey"})


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    failed = []
    for test in finder.find(module, name):
        report = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        if runner.run(test, out=report.append).failed:
            failed.append("".join(report))
    assert failed == []


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name), name) if test.examples]
    assert len(found) > 20

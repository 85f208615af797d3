"""Every code block of README.md, of the pages in docs and of the tour's README is run, and answers what it shows.

A page is read from top to bottom, in a directory of its own. What a block is depends on its language:

python    a program, which goes on from those before it on the page. What it prints is in the `text` or `json` block
          that follows; without one, it prints nothing.
console   commands behind a ``$``, each followed by what it prints. A server runs until the page ends or another
          one is started; what is shown of its log appears in it. A worker (``servey worker``) runs beside it. ``servey
          calls`` and ``servey schedule`` are repeated until they print what is shown, because servers and workers
          need a moment. ``pip install`` installs nothing here, and must
          name extras and packages that exist; ``make`` makes nothing, and must name targets that exist. (README.md is
          read once more in tests/packaging, where pip does install.) ``docker build`` and ``docker run`` do what the
          Dockerfile says in a directory of this machine: tests/pages/container.py says what that shows and what not.
text, json  what the block before prints; after a file, what the server that runs logs because of it.

After a comment ``<!-- file: NAME -->`` the block is a file. A Python module is imported; the examples of an
``actions.py`` are run. A systemd unit (``ini``) has sections and keys that are known, and what it starts is started; a
``yaml`` file is one of Compose or Kubernetes with keys, settings, ports, probes and times that fit together (but no
Kubernetes reads it); an ``nginx`` file has directives that exist, where they may stand (but nginx does not run); `toml`
is read. In what is shown, ``…`` stands for anything in its line, and alone in a line for any lines.
"""

import shutil

import pytest

from pages.blocks import blocks_of, matches
from pages.container import Image
from pages.files import CHECKS
from pages.installation import ROOT, Installation
from pages.reader import Reader
from pages.server import free_port
from servey.cli.new import make

TOUR = ROOT / "examples" / "tour"
SKILL = ROOT / "src" / "servey" / ".agents" / "skills" / "servey" / "SKILL.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), SKILL, TOUR / "README.md"]

CURL = shutil.which("curl")
READINGS = [(page, CURL) for page in PAGES]
if CURL is not None:
    READINGS.append((PAGES[-1], None))  # the stand-in does what curl does, and each program is a new interpreter


@pytest.mark.parametrize(
    ("page", "curl"),
    READINGS,
    ids=[f"{page.relative_to(ROOT)}{'' if curl == CURL else ', no curl'}" for page, curl in READINGS],
)
def test_the_blocks_of_a_page_do_what_it_says(page, curl, tmp_path, warm_python):
    directory = tmp_path / "project"
    if page.parent == TOUR:
        shutil.copytree(TOUR, directory, ignore=shutil.ignore_patterns(".servey"))
    else:
        directory.mkdir()
    reader = Reader(directory, curl, Installation(warm_python.python) if curl == CURL else Installation())
    try:
        reader.read(blocks_of(page.read_text(encoding="utf-8")))
    finally:
        reader.stop()


@pytest.mark.parametrize(
    "page",
    [
        "```\nx\n```\n",
        "```ruby\nputs 1\n```\n",
        "```text\nthe output of nothing\n```\n",
        "```python\nprint(1)\n```\n",
        "```python\nprint(1)\n```\n\n```text\n2\n```\n",
        "```python\n1 / 0\n```\n",
        "    ```python\n    pass\n    ```\n",
        "```python\npass\n",
        "```console\necho 1\n```\n",
        "```console\n$ echo 1\n2\n```\n",
        "```console\n$ pip install 'servey[nothing]'\n```\n",
        "```console\n$ pip install 'servey>=7'\n```\n",
        "```console\n$ make nothing\n```\n",
        "```console\n$ make check nothing\n```\n",
        "```console\n$ docker build -t x .\n```\n",
        "```console\n$ docker push x\n```\n",
        "<!-- file: x.rb -->\n```ruby\nputs 1\n```\n",
        "<!-- file: x.py -->\n```python\n1 / 0\n```\n",
        "<!-- file: x.py -->\n```python\npass\n```\n\n```text\nthe log of nothing\n```\n",
    ],
)
def test_a_block_that_is_wrong_or_not_run_is_found(page, tmp_path, warm_python):
    (directory := tmp_path / "project").mkdir()
    with pytest.raises((AssertionError, OSError)):
        Reader(directory, None, Installation(warm_python.python)).read(blocks_of(page))


DEPLOYMENT = {block.file: block for block in blocks_of((ROOT / "docs" / "deployment.md").read_text(encoding="utf-8"))}


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("planets.service", "SERVEY_WORKERS", "SERVEY_WORKER"),
        ("planets.service", "WorkingDirectory", "WorkDirectory"),
        ("planets.service", "StateDirectory=planets", "StateDirectory=planet"),
        ("planets.service", "TimeoutStopSec=20", "TimeoutStopSec=12"),
        ("compose.yaml", "stop_grace_period: 20s", "stop_grace_period: 10s"),
        ("compose.yaml", "restart:", "restarts:"),
        ("compose-workers.yaml", "/app/.servey", "/app/servey"),
        ("compose-workers.yaml", "stop_grace_period: 70s", "stop_grace_period: 20s"),
        ("compose-workers.yaml", "SERVEY_SHUTDOWN_TIMEOUT", "SERVEY_SHUTDOWN_TIME"),
        ("compose-workers.yaml", "  store:", "  stores:"),
        ("compose-celery.yaml", "@rabbitmq:5672", "@rabbit:5672"),
        ("compose-celery.yaml", "CELERY_BROKER: amqp", "CELERY_BROKR: amqp"),
        ("compose-celery.yaml", "stop_grace_period: 80s", "stop_grace_period: 65s"),
        ("compose-celery.yaml", '["rabbitmq:/var', '["rabbit:/var'),
        ("planets-worker.service", "TimeoutStopSec=80", "TimeoutStopSec=65"),
        ("planets-beat.service", "redis://localhost:6379/0", "store.db"),
        ("planets.yaml", "path: /readyz", "path: /ready"),
        ("planets.yaml", "SERVEY_SHUTDOWN_DELAY", "SHUTDOWN_DELAY"),
        ("planets.yaml", "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 15"),
        ("planets.yaml", "periodSeconds: 3", "periodSeconds: 30"),
        ("nginx.conf", "proxy_pass", "proxy_past"),
        ("nginx.conf", "proxy_set_header Host", "proxy_set_header"),
    ],
)
def test_a_mistake_in_a_file_is_found(file, right, wrong, tmp_path):
    block = DEPLOYMENT[file]
    path = tmp_path / file
    path.write_text(block.text, encoding="utf-8")
    CHECKS[block.language](path)
    assert right in block.text
    path.write_text(block.text.replace(right, wrong, 1), encoding="utf-8")
    with pytest.raises((AssertionError, KeyError)):
        CHECKS[block.language](path)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("python:3.13-slim", "python:3.10-slim"),
        ("USER 10001:10001\n", ""),
        ("USER 10001:10001", "USER root"),
        ("-o 10001", "-o 10002"),
        ("COPY . .\n", ""),
        ("COPY requirements.txt .\n", ""),
        ("COPY . .", "COPY . . tests/"),
        ("SERVER_PORT=8000", "SERVER_PORT=80"),
        ("/livez", "/live"),
        ("['SERVER_PORT']", "['PORT']"),
        ('CMD ["servey", "serve"]', "CMD servey serve"),
        ('CMD ["servey", "serve"]', 'CMD ["servey", "server"]'),
        ("STOPSIGNAL SIGTERM", "STOPSIGNAL TERM"),
        ("EXPOSE 8000", "VOLUME /data"),
    ],
)
def test_a_mistake_in_a_dockerfile_is_found(right, wrong, tmp_path, warm_python):
    (project := tmp_path / "project").mkdir()
    make(project)
    text = (project / "Dockerfile").read_text(encoding="utf-8")
    assert right in text
    (project / "Dockerfile").write_text(text.replace(right, wrong, 1), encoding="utf-8")
    with pytest.raises((AssertionError, KeyError, OSError, ValueError)):
        Image(project, tmp_path / "image", Installation(warm_python.python)).run(free_port(), {}).stop()


@pytest.mark.parametrize("file", ["Dockerfile"])
def test_what_the_page_shows_of_a_new_project_is_what_is_made(file, tmp_path):
    make(project := tmp_path / "planets")
    assert (project / file).read_text(encoding="utf-8") == DEPLOYMENT[file].text


def test_an_ellipsis_stands_for_anything():
    assert matches("a … c\n…\nz", "a b c\nd\ne\nz")
    assert matches("a\n…", "a\nb\nc")
    assert not matches("a … c", "a b\nc")

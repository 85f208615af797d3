"""The routing table: the method and path of every action, in dicts and a tree.

A plain path needs one look-up, a path template one look-up for each segment. So routing stays fast in a service with a
thousand actions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from servey.errors import MalformedError, MethodNotAllowedError
from servey.http.endpoint import action_endpoint, options_endpoint
from servey.http.problem import Problems
from servey.http.request import Endpoint, Receive, Scope, Send, unescape_segment
from servey.include.paths import IncludePaths
from servey.include.targets import IncludeTargets
from servey.service import Service

Methods = dict[str, Endpoint]


class ActionPath:
    """One path of actions; `ActionTable.find` sets it as ``scope["route"]``.

    The instrumentations of OpenTelemetry and Prometheus read the path template from it.

    Args:
        path: The path or path template, without the root path.

    Attributes:
        path: The path or path template.
        path_format: The same, under the name that FastAPI uses.
        methods: The methods of the actions with this path.
    """

    def __init__(self, path: str) -> None:
        self.path = self.path_format = path
        self.methods = {"OPTIONS"}


class _Segment:
    """A node in the tree of path templates: its child segments, and the endpoints of a path that ends here."""

    __slots__ = ("fixed", "methods", "parameter", "templates")

    def __init__(self) -> None:
        self.fixed: dict[str, _Segment] = {}
        self.parameter: _Segment | None = None
        self.methods: _Methods | None = None
        self.templates: dict[str, tuple[ActionPath, tuple[str, ...]]] = {}
        """The template of each method, with the names of the path parameters."""


class _Methods:
    """The endpoints of one path, by method; `other` answers all other methods."""

    __slots__ = ("_problems", "allowed", "get", "other", "route")

    def __init__(self, problems: Problems, route: ActionPath) -> None:
        self._problems = problems
        self.route = route
        self.allowed: Methods = {}
        self.get: Callable[[str], Endpoint | None] = self.allowed.get
        self.other: Endpoint

    def add(self, method: str, endpoint: Endpoint) -> None:
        self.allowed[method] = endpoint
        if method == "GET":
            self.allowed["HEAD"] = endpoint
        self.allowed.pop("OPTIONS", None)
        allow = sorted([*self.allowed, "OPTIONS"])
        self.allowed["OPTIONS"] = options_endpoint(", ".join(allow))
        self.other = self._problems.endpoint(MethodNotAllowedError(allow))


class ActionTable:
    """The web routes of a service, by method and path.

    Args:
        service: The service.
        problems: Answers call errors.
        reserved: Paths that no template matches; a final ``*`` includes all paths below.
    """

    def __init__(self, service: Service, problems: Problems, reserved: Sequence[str] = ()) -> None:
        self._problems = problems
        self._reserved = frozenset(reserved)
        self._reserved_below = tuple(path[:-1] for path in reserved if path.endswith("*"))
        self._paths: dict[str, ActionPath] = {}
        self._plain: dict[str, _Methods] = {}
        self._root = _Segment()
        self._has_templates = False
        include = IncludePaths(IncludeTargets(service.operations.values()), service.settings.http)
        for route in service.web_routes:
            endpoint = action_endpoint(route, service, problems, include)
            shown = self._paths.setdefault(route.path, ActionPath(route.path))
            shown.methods |= {"GET", "HEAD"} if route.method == "GET" else {route.method}
            if not route.trigger.path_parameters:
                self._plain.setdefault(route.path, _Methods(problems, shown)).add(route.method, endpoint)
                continue
            self._has_templates = True
            node = self._root
            for segment in route.path.split("/")[1:]:
                if segment.startswith("{"):
                    node.parameter = node.parameter or _Segment()
                    node = node.parameter
                else:
                    node = node.fixed.setdefault(segment, _Segment())
            node.methods = node.methods or _Methods(problems, shown)
            node.methods.add(route.method, endpoint)
            node.templates[route.method] = shown, route.trigger.path_parameters

    @property
    def paths(self) -> list[ActionPath]:
        """All paths of actions."""
        return list(self._paths.values())

    def before(self, app: Endpoint) -> Endpoint:
        """Return an ASGI application that serves the actions, and passes all other requests to `app`."""
        find = self.find

        def actions_first(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            endpoint = find(scope) if scope["type"] == "http" else None
            return (app if endpoint is None else endpoint)(scope, receive, send)

        return actions_first

    def find(self, scope: Scope) -> Endpoint | None:
        """Return the endpoint for the path of an HTTP request, or None.

        For another method the endpoint answers 405. Sets ``route`` in the scope, and ``path_params`` for a template.
        """
        path: str = scope["path"]
        root: str = scope.get("root_path", "")
        # as in Starlette: if the path does not begin with the root path, a proxy has already removed it
        if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
            path = path[len(root) :]
        else:
            root = ""
        methods = self._plain.get(path)
        if methods is not None:
            raw: bytes | None = scope.get("raw_path")
            if not raw or b"%" not in raw or b"%2F" not in raw.upper():  # an escaped slash does not split segments
                scope["route"] = methods.route
                return methods.get(scope["method"]) or methods.other
        if self._has_templates and path not in self._reserved and not path.startswith(self._reserved_below):
            return self._find_template(scope, root, path)
        return None

    def _find_template(self, scope: Scope, root: str, path: str) -> Endpoint | None:
        raw: bytes = scope.get("raw_path") or b""
        try:
            if b"%" in raw:  # an escaped slash must not split a segment, and a wrong escape is an error
                escaped = raw.decode("latin-1").partition("?")[0].split("/")[1 + root.count("/") :]
                segments = [unescape_segment(segment) for segment in escaped]
            else:
                segments = path.split("/")[1:]
        except MalformedError as error:
            return self._problems.endpoint(error)
        values: list[str] = []
        node = _walk(self._root, segments, values)
        if node is None or node.methods is None:
            return None
        method: str = scope["method"]
        endpoint = node.methods.get(method)
        if endpoint is None:
            scope["route"] = node.methods.route
            return node.methods.other
        route, names = node.templates.get("GET" if method == "HEAD" else method, (node.methods.route, ()))
        scope["route"], scope["path_params"] = route, dict(zip(names, values, strict=False))
        return endpoint


def _walk(root: _Segment, segments: list[str], values: list[str]) -> _Segment | None:
    """Return the node of `segments`, and collect the parameters in `values`; fixed segments go before parameters."""
    node = root
    turns: list[tuple[int, _Segment, int]] = []  # places where a parameter would match, too
    at, end = 0, len(segments)
    while True:
        segment = segments[at] if at < end else None
        if segment is None:
            if node.methods is not None:
                return node
            following = None
        elif (following := node.fixed.get(segment)) is not None:
            if node.parameter is not None and segment:
                turns.append((at, node.parameter, len(values)))
        elif segment and (following := node.parameter) is not None:
            values.append(segment)
        if following is None:
            if not turns:
                return None
            at, following, count = turns.pop()
            del values[count:]
            values.append(segments[at])
        node = following
        at += 1

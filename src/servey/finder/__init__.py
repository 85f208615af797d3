"""Find actions and resources in the user's modules, and nested actions on the types that actions return."""

from servey.finder.module_finder import Declarations, find_declarations
from servey.finder.nested_finder import nested_actions

__all__ = ["Declarations", "find_declarations", "nested_actions"]

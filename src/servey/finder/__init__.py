"""Finding what the user declared, in their modules and on the types their actions return."""

from servey.finder.module_finder import Declarations, find_declarations
from servey.finder.nested_finder import nested_actions

__all__ = ["Declarations", "find_declarations", "nested_actions"]

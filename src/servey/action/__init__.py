"""Actions: plain typed functions declared once, and the one operation through which everything calls them.

The decorator lives in `servey.action.action` and has the package's own name, so it is not re-exported here.
"""

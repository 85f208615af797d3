"""A parcel service. Servey finds the actions and resources in this package and its modules.

Read it in this order: `hello`, `model`, `storage`, `receipts`, `parcels`, `depots`, `quotes`, `reports`,
`accounts`, `people`.
"""

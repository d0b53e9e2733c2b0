"""The report: the paper's tables and claims beside ours, and figures."""

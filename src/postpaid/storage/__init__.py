"""Where things are kept: SQL and the rows it returns, one module per noun."""

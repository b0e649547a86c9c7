"""`magvit benchmark efficiency`: Figure 5 of the paper and the cost columns of its Table 6, measured here."""

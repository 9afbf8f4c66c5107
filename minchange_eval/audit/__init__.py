"""Can it be solved without looking? Shortcuts, faults and leaks of data sets; no model runs here."""

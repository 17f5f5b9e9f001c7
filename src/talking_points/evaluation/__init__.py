"""How well points are described and found: measures, reports and figures."""

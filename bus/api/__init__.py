"""HTTP: a router per noun. Routes translate, `bus.control` decides and does; no rule lives here."""

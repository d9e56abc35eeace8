"""What an agency can do, a file per noun. HTTP is `bus.api`'s; who may do it is asked of `access.decide`."""

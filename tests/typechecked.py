"""The run-time checker of annotations: beartype, with an int accepted where a float is announced (PEP 484)."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))

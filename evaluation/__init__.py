"""How good erased pictures are: numbers, a report of them, test sets, a judge, and the papers' tables beside ours."""

#!/bin/sh
# The project's Python with the arguments given, whoever starts a stage: that of .venv, also where DVC runs
# an experiment in a folder below .dvc/tmp; the first `python` on PATH where there is no .venv.
python="${PWD%%/.dvc/tmp/*}/.venv/bin/python"
[ -x "$python" ] || python=python
exec "$python" "$@"

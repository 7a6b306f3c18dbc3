# label: build-failed
mkdir src; printf '[build-system]\nrequires=[]\nbuild-backend="setup_backend"\nbackend-path=["."]\n[project]\nname="x"\nversion="1"\n' > pyproject.toml; printf 'def build_wheel(*a, **k):\n    raise RuntimeError("libfoo headers are missing")\n' > setup_backend.py
#---
pip install .

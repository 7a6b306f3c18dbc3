# label: python-version
printf '[build-system]\nrequires=[]\nbuild-backend="b"\nbackend-path=["."]\n[project]\nname="x"\nversion="1"\nrequires-python=">=3.99"\n' > pyproject.toml; printf 'import zipfile\ndef prepare_metadata_for_build_wheel(d, c=None):\n    import os\n    os.mkdir(d+"/x-1.dist-info")\n    open(d+"/x-1.dist-info/METADATA","w").write("Metadata-Version: 2.1\\nName: x\\nVersion: 1\\nRequires-Python: >=3.99\\n")\n    return "x-1.dist-info"\ndef build_wheel(*a): raise SystemExit(1)\n' > b.py
#---
pip install .

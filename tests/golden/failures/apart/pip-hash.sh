# label: hash-mismatch
printf 'beta==1.0 --hash=sha256:%064d\n' 7 > requirements.txt
#---
pip install --require-hashes --index-url $REGISTRY/simple --target out -r requirements.txt

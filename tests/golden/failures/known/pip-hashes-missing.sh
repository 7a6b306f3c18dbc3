# label: hash-mismatch|hash-missing
printf 'beta==1.0 --hash=sha256:%064d\nalpha\n' 3 > lock.txt
#---
pip download -r lock.txt --index-url $REGISTRY/simple

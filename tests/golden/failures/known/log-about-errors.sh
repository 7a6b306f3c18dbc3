# label: abstain
#---
echo "documentation of error handling: raises ConnectionError when the connection is refused"
grep -rn "absolutely-nothing" /etc/hostname

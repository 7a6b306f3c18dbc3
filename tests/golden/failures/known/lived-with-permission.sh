# label: abstain
#---
cat /etc/no-such-setting 2>&1 || true
setpriv --reuid 65534 --regid 65534 --clear-groups cat /etc/shadow || true
echo "the report is being compared"
exit 2

# label: timeout|connection-refused|abstain
#---
for i in 1 2 3; do (echo > /dev/tcp/127.0.0.1/9) 2>/dev/null && exit 0; done; echo "timed out waiting for 127.0.0.1:9"; exit 1

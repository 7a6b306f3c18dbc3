# label: timeout
# timeout: 4
# reason: job_execution_timeout
#---
pip install --index-url http://10.255.255.1/simple beta

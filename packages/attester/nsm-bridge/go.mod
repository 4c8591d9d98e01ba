module haca/nsm-bridge

go 1.21

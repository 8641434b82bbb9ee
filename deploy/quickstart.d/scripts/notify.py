#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = []
# [tool.mediator]
# kind = "trigger"
# timeout = "30s"
# retry = { attempts = 3, first = "1s" }
# ///
"""A script as SecureChange runs it: ticket on stdin, event in SCW_EVENT, arguments as usual."""

import os
import sys
import xml.etree.ElementTree as ET

ticket = ET.fromstring(sys.stdin.buffer.read())
event = os.environ["SCW_EVENT"]
print(f"{event}: ticket {ticket.findtext('id')}, {ticket.findtext('subject')!r}")
print(f"requested by {ticket.findtext('requester/display_name')}, arguments {sys.argv[1:]}")

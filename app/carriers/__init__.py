"""The roads by which messages leave: push services, Zalo, SMS and mail, in their own protocols."""

"""NetApp ONTAP: qtrees with tree quota rules, REST."""

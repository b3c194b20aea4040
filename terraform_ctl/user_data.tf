# What cloud-init does on the control host. User data can be read by every process there, and by others in the
# project: no secret is in it.
locals {
  user_data = join("\n", ["#cloud-config", yamlencode({
    write_files = [
      {
        path        = "/usr/local/sbin/slurm-powersave-bootstrap"
        permissions = "0755"
        content     = file("${path.module}/bootstrap.sh")
      },
      {
        path        = "/etc/slurm-powersave/control_host.json"
        permissions = "0644"
        content     = jsonencode(merge({ control_host_terraform_checksum = "sha256:${var.terraform_sha256}" }, var.settings))
      },
    ]
    runcmd = [["/usr/local/sbin/slurm-powersave-bootstrap", var.toolkit]]
  })])
}

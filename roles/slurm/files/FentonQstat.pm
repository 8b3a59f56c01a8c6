package FentonQstat;
# Role slurm of Fenton, loaded into qstat: "host/cpus" of a job's nodes from scontrol, where Slurm's Perl library cannot tell them.
use strict;
use warnings;

# After qstat has been compiled, before it runs.
INIT {
    no warnings qw(redefine once);
    if (!Slurm->can('job_cpus_allocated_on_node_id')) {
        *main::get_exec_host = \&exec_host;
    }
}

# Where nobody asked for a job, none is no mistake.
END { $? = 0 if $? == 153 && !@ARGV }

sub exec_host {
    my ($job) = @_;
    return '--' if !$job->{nodes};
    my ($number, @hosts) = (0);
    open(my $said, '-|', 'scontrol', '-d', 'show', 'job', $job->{job_id}) or return $job->{nodes};
    while (my $line = <$said>) {
        # Of an array it shows every job.
        $number = $1 if $line =~ /^JobId=(\d+)/;
        next if $number != $job->{job_id};
        my ($nodes, $ids) = $line =~ /^\s*Nodes=(\S+) CPU_IDs=([\d,-]+)/ or next;
        my $cpus = 0;
        for my $range (split /,/, $ids) {
            my ($first, $last) = split /-/, $range;
            $cpus += ($last // $first) - $first + 1;
        }
        my $list = Slurm::Hostlist::create($nodes);
        while (my $host = Slurm::Hostlist::shift($list)) {
            push @hosts, "$host/$cpus";
        }
    }
    close $said;
    return @hosts ? join('+', @hosts) : $job->{nodes};
}

1;
